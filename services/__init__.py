"""What runs, and what a job passes through; README.md beside this tells the way of one job."""
