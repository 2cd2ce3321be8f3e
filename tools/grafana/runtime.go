package grafana

func runtimeBoard() Dashboard {
	return Dashboard{
		UID: "firstclick-runtime", Title: "firstclick: runtime", Description: "The process, Go, and the Kafka clients.", Tags: []string{"firstclick"},
		Rows: []Row{process(), golang(), client()},
	}
}

func process() Row {
	return Row{"Process", []Panel{
		stat("Uptime", "Since the youngest instance started. Yellow in its first five minutes.", "s", []Step{{0, yellow}, {300, green}}, q(`min(time() - firstclick_started_timestamp_seconds{S})`, "uptime")),
		stat("CPU", "Cores in use by all instances. Red from 8: is something spinning?", "short", low(4, 8), q(`sum(rate(process_cpu_seconds_total{I,job=~".*firstclick.*"}[$__rate_interval]))`, "cores")),
		stat("Memory", "Greatest resident set. Yellow from 4 GB, red from 8 GB: is --memory-limit as it should be?", "bytes", low(4e9, 8e9), q(`max(process_resident_memory_bytes{I,job=~".*firstclick.*"})`, "resident")),
		stat("Open files", "As a share of what is allowed.", "percentunit", low(0.5, 0.8), q(`max(process_open_fds{I,job=~".*firstclick.*"} / process_max_fds{I,job=~".*firstclick.*"})`, "open")),
		graph("CPU", "Cores in use. Red from 8.", "short", 12, low(4, 8), q(`rate(process_cpu_seconds_total{I,job=~".*firstclick.*"}[$__rate_interval])`, "{{instance}}")),
		graph("Memory", "Resident, and what the window takes of it. Yellow from 4 GB, red from 8 GB.", "bytes", 12, low(4e9, 8e9),
			q(`process_resident_memory_bytes{I,job=~".*firstclick.*"}`, "{{instance}} resident"), q(`go_memstats_heap_inuse_bytes{I,job=~".*firstclick.*"}`, "{{instance}} heap"), q(`firstclick_window_bytes{S}`, "{{instance}} window")),
	}}
}

func golang() Row {
	return Row{"Go", []Panel{
		graph("Goroutines", "Some dozens are in order. A number that keeps growing is a leak.", "short", 8, low(500, 5_000), q(`go_goroutines{I,job=~".*firstclick.*"}`, "{{instance}}")),
		graph("Garbage collection", "Longest pause of late. Yellow from 10 ms.", "s", 8, low(0.01, 0.1), q(`go_gc_duration_seconds{I,quantile=~"1|1.0",job=~".*firstclick.*"}`, "{{instance}}")),
		graph("Allocation", "Bytes allocated a second. Beyond 1 GB/s the collector is what to look at.", "Bps", 8, low(500e6, 1e9), q(`rate(go_memstats_alloc_bytes_total{I,job=~".*firstclick.*"}[$__rate_interval])`, "{{instance}}")),
	}}
}

func client() Row {
	return Row{"Kafka client", []Panel{
		graph("Requests", "Mean time of a request, there and back. Fetches wait up to half a second for records: beyond a second the broker is slow.", "s", 8, low(0.75, 1),
			q(`sum by (client) (rate(firstclick_kafka_request_duration_e2e_seconds_sum{I}[$__rate_interval])) / sum by (client) (rate(firstclick_kafka_request_duration_e2e_seconds_count{I}[$__rate_interval])) `+
				`or histogram_sum(sum by (client) (rate(firstclick_kafka_request_duration_e2e_seconds{I}[$__rate_interval]))) / histogram_count(sum by (client) (rate(firstclick_kafka_request_duration_e2e_seconds{I}[$__rate_interval])))`, "{{client}}")),
		graph("Connections", "Connections made, a second. One a minute is in order.", "cps", 8, low(0.1, 1), q(`sum by (client) (rate(firstclick_kafka_connects_total{I}[$__rate_interval]))`, "{{client}}")),
		graph("Bytes fetched", "Record batches a second, uncompressed. Beyond 100 MB/s the network is what to look at.", "Bps", 8, low(100e6, 1e9), q(`sum by (client, topic) (rate(firstclick_kafka_fetch_bytes_total{I}[$__rate_interval]))`, "{{client}} {{topic}}")),
	}}
}
