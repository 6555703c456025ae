"""What a training would take on machines that are not there: memory, time, money, and which layout is best."""
