#!/bin/sh
# The shop's deploy hook, as its team would write it: bring a version up in a slot, take a slot down, or look at it.
# It is told what to do by RAMPGATE_ACTION, RAMPGATE_SLOT, RAMPGATE_VERSION and RAMPGATE_FENCE, and may be run twice.
exec "$DEMO_PYTHON" -m examples.demo.deploy
