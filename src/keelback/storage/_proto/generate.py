"""`python -m keelback.storage._proto.generate`: write the `*_pb2.py` beside this file anew (needs grpcio-tools)."""

from __future__ import annotations

from pathlib import Path

from grpc_tools import protoc

_HERE = Path(__file__).parent


def main() -> None:
    """Generate messages only: the calls are plain method paths, so no service stubs are needed."""
    for source in sorted(_HERE.glob("*.proto")):
        if protoc.main(["protoc", f"-I{_HERE}", f"--python_out={_HERE}", source.name]) != 0:
            raise SystemExit(f"protoc failed on {source}")


if __name__ == "__main__":
    main()
