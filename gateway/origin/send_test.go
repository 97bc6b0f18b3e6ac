package origin

import (
	"testing"

	"yatagarasu/gateway/s3error"
	"yatagarasu/pool"
)

// TestResultOfTry has each error status judge the origin, or not.
func TestResultOfTry(t *testing.T) {
	for status := 300; status < 600; status++ {
		o := s3error.Classify(status, "")
		byRequest := status == 501 || status/100 == 4 && status != 401 && status != 408 && status != 429
		if counted := resultOfTry(nil, o) == pool.ResultFailure; counted != (o.Fault == s3error.FaultOrigin) || byRequest && counted {
			t.Errorf("%d: %s, counted against the origin: %t", status, o.Reason, counted)
		}
	}
	if resultOfTry(nil, s3error.Foreign) != pool.ResultNone {
		t.Error("a proxy's answer says something about the origin")
	}
}
