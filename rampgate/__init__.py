"""Rampgate: releases that undo themselves.

This package holds the words that the gate, the flag server and an app share, and the client that an app
imports. It depends on ``mmh3`` alone.
"""
