"""Names the wheel after what its library needs: any Python 3, this processor, this glibc."""

import platform
import re
from pathlib import Path

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel

LIBRARY = Path(__file__).parent / "art32_kernel" / "libart32_kernel.so"


class Wheel(bdist_wheel):
    """A wheel with a library that knows nothing of Python."""

    def finalize_options(self) -> None:
        super().finalize_options()
        self.root_is_pure = False

    def get_tag(self) -> tuple[str, str, str]:
        # the newest version of a glibc symbol that the library asks for is the oldest that will do
        versions = re.findall(rb"GLIBC_2\.([0-9]+)", LIBRARY.read_bytes())
        newest = max(map(int, versions))
        return "py3", "none", f"manylinux_2_{newest}_{platform.machine()}"


setup(cmdclass={"bdist_wheel": Wheel})
