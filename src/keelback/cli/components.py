"""Components that run alone, with upstream's flags: each is a client of an API server named by a kubeconfig."""

from __future__ import annotations

import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path

import msgspec

from keelback.bootstrap.cluster_state import ClusterError


def run(component: str, arguments: Sequence[str]) -> int:
    """Run one component until told to end; its exit status."""
    from keelback.bootstrap import config_files, standalone
    from keelback.bootstrap.standalone_options import OPTIONS
    from keelback.component import flags, logs

    options = OPTIONS[component]
    if "--help" in arguments or "-h" in arguments:
        print(f"keelback {component} [flags]\n\n{flags.usage(options)}", end="")
        return 0
    logs.configure()
    try:
        given = config_files.parse(component, options, [_spelt_out(one) for one in arguments])
        given.begin_logs()
        _serve(standalone.run(component, given))
    except flags.FlagError as error:
        print(f"keelback {component}: {error}", file=sys.stderr)
        return 2
    except (ClusterError, OSError) as error:
        print(f"keelback {component}: {error}", file=sys.stderr)
        return 1
    except Exception as error:
        logs.logger(component).exception("The component failed", error)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _spelt_out(argument: str) -> str:
    """The only flag that is written with one dash."""
    return f"-{argument}" if argument == "-v" or argument.startswith("-v=") else argument


def run_node(path: Path) -> int:
    """Be one of a cluster's nodes."""
    from keelback.bootstrap import node
    from keelback.bootstrap.node_host import AgentConfig
    from keelback.component import logs

    logs.configure()
    try:
        config = msgspec.json.decode(path.read_bytes(), type=AgentConfig, dec_hook=lambda kind, text: kind(text))
    except (OSError, msgspec.DecodeError) as error:
        raise ClusterError(f"{path} is no node's configuration: {error}") from error
    _serve(node.run(config))
    return 0


def _serve(work: Coroutine[object, object, object]) -> None:
    from keelback.component import event_loop

    event_loop.run(work)
