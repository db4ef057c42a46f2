"""Scores and times of trainings on few examples, beside what a data scientist has in a few lines."""
