package gateway

import "encoding/xml"

type s3ErrorDoc struct {
	Code             string
	Region           string
	ActualObjectSize int64
}

func parseS3Error(doc []byte) s3ErrorDoc {
	e := s3ErrorDoc{ActualObjectSize: -1}
	_ = xml.Unmarshal(doc, &e)
	return e
}

type s3Outcome struct {
	status                int
	code, message, reason string
	retryAfter            int
}

func classify(status int, code string) *s3Outcome {
	switch {
	case code == "RequestTimeTooSkewed":
		return &s3Outcome{502, "bad_gateway", "x", "clock_skew", 0}
	case code == "NoSuchKey" || code == "" && status == 404:
		return &s3Outcome{404, "not_found", "the object does not exist", "no_such_key", 0}
	case code == "AccessDenied":
		return &s3Outcome{403, "access_denied", "x", "access_denied", 0}
	case code == "InvalidObjectState":
		return &s3Outcome{403, "object_archived", "x", "object_archived", 0}
	case code == "SlowDown":
		return &s3Outcome{503, "overloaded", "x", "slow_down", 1}
	}
	return &s3Outcome{502, "bad_gateway", "x", "signature", 0}
}
