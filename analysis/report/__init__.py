"""Makes the report's page of the findings: prose, tables and figures."""
