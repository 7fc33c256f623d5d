"""The build of the package compiles its C++ operators, where a compiler is."""

import runpy
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUILD = Path(__file__).parent / "service" / "r3mes" / "engine" / "native" / "build.py"


class Operators(BuildHookInterface):
    """Without a compiler the package is pure Python, for any machine."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        build = runpy.run_path(str(BUILD))
        self.app.display_info(build["compile_all"]())
        if build["built"]():
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{platform}"
