"""What runs the cells of a sweep: in this process, in several, on a cluster. ``conf/launcher`` chooses."""
