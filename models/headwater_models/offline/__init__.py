"""From a person's own table to a model, and from a model and a table to predictions.

The rows, windows and labels here are those that an agent would make of the same records, and the
graphs are the same ones: ``tests/system/test_offline.py`` holds both against each other.
"""
