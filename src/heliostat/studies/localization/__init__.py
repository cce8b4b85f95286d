"""The figures of the localization paper, one file each, named after the figure."""
