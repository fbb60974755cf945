"""What shows the job at work: a gateway on loopback, made-up people, seven nights, a load test."""
