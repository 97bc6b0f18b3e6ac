package serve

import (
	"testing"

	"yatagarasu/gateway/auth"
	"yatagarasu/gateway/observe"
)

// A token that was not verified for want of a turn is nothing that the client did wrong.
func TestProblemOfNoVerdict(t *testing.T) {
	p := ProblemOfVerdict(auth.VerifiersBusy)
	if p.Status != 503 || p.RetryAfter == 0 || p.Challenge != "" {
		t.Errorf("%+v", p)
	}
	if p := limitProblems[observe.LimitTokenFailures]; p.Status != 429 || p.RetryAfter == 0 || p.Challenge != "" {
		t.Errorf("%+v", p)
	}
}
