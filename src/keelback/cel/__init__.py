"""The Common Expression Language as Kubernetes 1.36 speaks it: compiled, type checked, costed, evaluated. No I/O.

```python
environment = Environment(variables={"self": object_of("object", {"replicas": INT, "name": STRING})})
program = environment.compile("self.replicas < 5 && self.name.startsWith('a')", expected=(BOOL,))  # CompileError
program.estimate_cost({("self", "name"): Estimate(0, 63)})  # Estimate(least, most)
budget = Budget(10_000_000)
program.evaluate({"self": {"replicas": 3, "name": "ab"}}, budget)  # True; EvaluationError, CostLimitExceeded
budget.remaining  # what is left, less the evaluation's actual cost; negative once overrun
```

- `environment.Environment(variables=…, libraries=…, container="")` knows the standard library and those given;
  `extend(variables=…, libraries=…)` makes a wider one, cheaply. `libraries` are `declarations.Library` values; each
  module of `cel/libraries/` has one. `Budget` and `Program` stand beside it.
- `compile(text, expected=(BOOL,))` raises `CompileError` (`.issues`; `str()` is cel-go's text), or its subclass
  `ResultTypeError` for an expression of another type than expected, dyn included. `expected=()` takes any type;
  `program.type` is what it is.
- `evaluate(activation, budget=None)` takes a value for each variable (an absent one fails when it is read: `no such
  attribute(s): x`), in the Python types of `cel/values.py`. Values must have the types declared: a schema's side turns
  `format: date-time` into `Timestamp` and a JSON integer of a `number` field into float before. A budget charges as
  cel-go does, and ends one call at `budget.per_call`.
- `estimate_cost(sizes)` takes a mapping, or a function of a path, to the sizes a schema allows: `("self", "list",
  "@items")` is an element, `@keys` and `@values` are a map's; what is not there may be of any size. It returns cel-go's
  static estimate.
"""
