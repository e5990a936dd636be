"""Hold what Metal lets one process keep resident, by the memory of a Mac."""

from __future__ import annotations

WORKING_SETS = {
    16: 10_922 << 20,
    24: int(17.76 * (1 << 30)),
    32: 24 * 10**9,
    36: 27_648 << 20,
    64: 48 << 30,
}
"""Recommended working set in bytes by RAM in GB, as users report `Metal`'s answer: 16 GB M1
10,922 MiB (ise-uiuc/magicoder#19; an M3 reports 11.84 GB), 24 GB 17.76 GiB
(sgl-project/sglang#29949), 32 GB 24 GB (an M4 iMac), 36 GB 27,648 MiB
(meta-llama/llama#964). 64 GB is three quarters of the RAM, the share at 36 GB; no report of
it was found."""
