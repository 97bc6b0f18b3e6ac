package gateway

import (
	"testing"

	"yatagarasu/gateway/auth"
)

// An exchange forgets its client: the next one is not charged for its subject.
func TestExchangeForgetsItsVerdict(t *testing.T) {
	x := &exchange{verdict: auth.Verdict{Public: true, Subject: "alice", SubjectID: 7}, private: true}
	x.reset()
	if x.verdict != (auth.Verdict{}) || x.private {
		t.Errorf("%+v, private %v", x.verdict, x.private)
	}
}
