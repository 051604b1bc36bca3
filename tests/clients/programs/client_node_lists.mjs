// The official JavaScript client lists every kind of every stable group it knows, and asks for health and use.
import assert from 'node:assert';
import * as k8s from '@kubernetes/client-node';

const config = new k8s.KubeConfig();
config.loadFromDefault();
let lists = 0;
for (const [name, api] of Object.entries(k8s)) {
  if (!/(?<!alpha\d*|beta\d*)Api$/.test(name) || !/V\d+Api$/.test(name)) continue;
  for (const method of Object.getOwnPropertyNames(api.prototype)) {
    if (!method.startsWith('list') || method.endsWith('WithHttpInfo')) continue;
    const { items } = await config.makeApiClient(api)[method](method.includes('Namespaced') ? { namespace: 'kube-system' } : {});
    assert(Array.isArray(items), method);
    lists += 1;
  }
}
assert(lists > 80, `only ${lists}`);
assert.deepStrictEqual([await new k8s.Health(config).readyz({}), await new k8s.Health(config).livez({})], [true, true]);
const core = config.makeApiClient(k8s.CoreV1Api);
assert.strictEqual((await k8s.topNodes(core)).length, (await new k8s.Metrics(config).getNodeMetrics()).items.length);
process.exit(0);
