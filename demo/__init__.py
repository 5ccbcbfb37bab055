"""The demonstration: a webshop whose files travel through SFTP, Airflow and the profile store. Run by ``make demo``."""
