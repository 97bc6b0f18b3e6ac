package origin

import (
	"testing"
	"yatagarasu/gateway/s3error"
	"yatagarasu/pool"
)

// TestOutcomeOfTry has each error status judge the origin, or not.
func TestOutcomeOfTry(t *testing.T) {
	for status := 300; status < 600; status++ {
		o := s3error.Classify(status, "")
		byRequest := status == 501 || status/100 == 4 && status != 401 && status != 408 && status != 429
		if counted := outcomeOfTry(nil, o) == pool.OutcomeFailure; counted != (o.Fault == s3error.FaultOrigin) || byRequest && counted {
			t.Errorf("%d: %s, counted against the origin: %t", status, o.Reason, counted)
		}
	}
	if outcomeOfTry(nil, s3error.Foreign) != pool.OutcomeNone {
		t.Error("a proxy's answer says something about the origin")
	}
}
