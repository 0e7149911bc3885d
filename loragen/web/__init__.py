"""The front of an HTTP service, which the cloud service and the device share: connections, records, errors, logs."""
