"""Python for an image: what it needs of the system."""

from __future__ import annotations

from pathlib import Path

from testbed import interpreter


def test_libraries_are_read_from_what_ldd_says() -> None:
    told = """\
/opt/a.so:
\tlinux-vdso.so.1 (0x00007fc8de0c3000)
\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007fc8de056000)
\tlibtorch.so => not found
\t/lib64/ld-linux-x86-64.so.2 (0x00007fc8de0c5000)
/opt/b.so:
\tstatically linked
"""

    assert interpreter.parse_ldd(told) == {Path("/lib/x86_64-linux-gnu/libm.so.6"), Path("/lib64/ld-linux-x86-64.so.2")}


def test_libraries_of_the_packages_themselves_are_not_the_systems(tmp_path: Path) -> None:
    needed = interpreter.system_libraries([Path("/bin/ls")], tmp_path)

    assert any(path.name.startswith("libc.") for path in needed)
    assert interpreter.system_libraries([Path("/bin/ls")], Path("/")) == set()
