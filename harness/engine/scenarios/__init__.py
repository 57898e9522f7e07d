"""Playing scenarios: incidents reproduced on a real cluster, their symptom measured, their fix proved."""
