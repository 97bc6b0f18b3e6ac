package gateway

import (
	"testing"
	"yatagarasu/pool"
)

// TestOutcomeOfTry has each error status judge the origin, or not.
func TestOutcomeOfTry(t *testing.T) {
	for status := 300; status < 600; status++ {
		o := classify(status, "")
		byRequest := status == 501 || status/100 == 4 && status != 401 && status != 408 && status != 429
		if counted := outcomeOfTry(nil, o) == pool.OutcomeFailure; counted != (o.fault == faultOrigin) || byRequest && counted {
			t.Errorf("%d: %s, counted against the origin: %t", status, o.reason, counted)
		}
	}
	if outcomeOfTry(nil, outcomeForeign) != pool.OutcomeNone {
		t.Error("a proxy's answer says something about the origin")
	}
}
