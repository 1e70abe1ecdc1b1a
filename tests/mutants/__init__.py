"""One line of the code broken at a time; the tests have to turn red.  See `nox -s mutants`."""
