"""What methods share: their inputs, the assembly of a plan, the registry, neighbours, anchors held out."""
