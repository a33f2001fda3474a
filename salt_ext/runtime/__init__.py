"""The process and the machine: devices, memory, progress, interruption."""
