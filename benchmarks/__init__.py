"""Speed and memory as ratios, each in one run, against what a user would pick instead."""
