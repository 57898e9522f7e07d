"""This machine: processes, workers, containers, kubectl, and the journal by which what they leave behind is cleaned up."""
