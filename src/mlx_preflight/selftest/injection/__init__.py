"""One planted defect and one clean neighbour for every check of the register, and their trial."""
