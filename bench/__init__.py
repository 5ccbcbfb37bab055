"""Repeatable measurements; each prints ratios of CPU seconds from one run. See docs/performance.md."""
