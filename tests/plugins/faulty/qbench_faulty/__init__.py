"""Plug-ins that lie, crash, hang and collapse: a third party's package, found by its entry points alone.

Put the folder that holds this package and its `.dist-info` on PYTHONPATH, and `qbench list` shows them.
"""
