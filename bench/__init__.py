"""Benches: ratios between contestants in one run. `script/bench NAME` runs one."""
