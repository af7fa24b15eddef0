"""The machine: devices, threads, memory, time, random numbers, and the processes that share one training."""
