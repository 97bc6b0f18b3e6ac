package origin

import (
	"testing"
	"time"

	"yatagarasu/gateway/problem"
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

// TestRefusal has replicas refuse for different reasons.
func TestRefusal(t *testing.T) {
	type one struct {
		v    pool.Verdict
		wait time.Duration
	}
	for _, c := range []struct {
		name string
		by   []one
		want *problem.Problem
		wait int
	}{
		{"the origin", []one{{pool.GivenUp, 3 * time.Second}}, problem.Breaker, 3},
		{"the object", []one{{pool.KeyFails, 3 * time.Second}}, problem.ObjectFails, 3},
		{"both", []one{{pool.KeyFails, 5 * time.Second}, {pool.GivenUp, 2 * time.Second}}, problem.Breaker, 2},
		{"both, the other way round", []one{{pool.GivenUp, 5 * time.Second}, {pool.KeyFails, 2 * time.Second}}, problem.Breaker, 2},
		{"the object at each", []one{{pool.KeyFails, 100 * time.Millisecond}, {pool.KeyFails, 2 * time.Second}}, problem.ObjectFails, 1},
	} {
		var r refusal
		for _, o := range c.by {
			r.add(o.v, o.wait)
		}
		if p := r.failure().problem; p.Code != c.want.Code || p.RetryAfter != c.wait {
			t.Errorf("%s: %s after %d s, want %s after %d", c.name, p.Code, p.RetryAfter, c.want.Code, c.wait)
		}
	}
}
