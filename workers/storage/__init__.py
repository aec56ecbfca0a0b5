"""What targets need of disks and databases; knows neither items' formats nor plans."""
