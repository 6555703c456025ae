"""Starting the processes of a training: here, or by files for whoever hands out the machines."""
