"""What is written while a session runs, and how it becomes files of the data set."""
