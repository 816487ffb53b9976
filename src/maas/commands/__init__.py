"""The commands of `maas`: each runs the stages of one task and presents their results."""
