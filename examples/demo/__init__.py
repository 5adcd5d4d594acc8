"""The main job on embedded defaults: a flag server, a small shop under load, and the gate as the Action runs it.

``python -m examples.demo`` releases three versions one after the other: a healthy one, a broken one, a healthy one.
"""
