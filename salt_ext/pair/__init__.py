"""Source and donor of a transfer: opened, matched, their tables read, the source's tensors made anew."""
