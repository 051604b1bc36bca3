"""`python -m keelback.encryption._proto.generate`: write the `*_pb2.py` beside this file anew (needs grpcio-tools)."""

from __future__ import annotations

from pathlib import Path

import grpc_tools
from grpc_tools import protoc

_HERE = Path(__file__).parent


def main() -> None:
    """Generate messages only: the calls are plain method paths, so no service stubs are needed."""
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    for source in sorted(_HERE.glob("*.proto")):
        arguments = ["protoc", f"-I{_HERE}", f"-I{well_known}", f"--python_out={_HERE}", source.name]
        if protoc.main(arguments) != 0:
            raise SystemExit(f"protoc failed on {source}")


if __name__ == "__main__":
    main()
