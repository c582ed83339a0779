"""The parts of the bench, each a file of its own: its workload, its cases, what each must reach, and the tables they make."""
