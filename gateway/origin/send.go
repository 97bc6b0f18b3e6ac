package origin

import (
	"bytes"
	"time"

	"github.com/valyala/fasthttp"

	"yatagarasu/gateway/config/upstream"
	"yatagarasu/gateway/problem"
	"yatagarasu/gateway/request"
	"yatagarasu/gateway/s3error"
	"yatagarasu/pool"
	"yatagarasu/sign"
)

// Send signs and sends a request for the object and reads the head of the response, of an
// error the document, too. Where that fails, it is tried again, at another replica if there
// is one, as often as s3.retry allows. The answer before it is closed.
func (f *Fetch) Send(w request.Plan, head bool) error {
	now := time.Now()
	r, t, refused := f.Bucket.pick(f.hash, replicaSet(f.Notes.Failed), now)
	if r == nil && f.Notes.Failed != 0 {
		r, t, refused = f.Bucket.pick(f.hash, 0, now)
	}
	if r == nil {
		return refused.failure()
	}
	if f.Notes.Tries == 0 { // nextReplica has counted the further ones, or taken them
		r.Health.retries.Count(f.hash, now)
	}
	for {
		err := f.ask(r, t, w, head, now)
		if r = f.replica; err == nil { // the one that answers, if two were asked
			f.noteAnswer()
			if head && ambiguous(&f.Answer.Header) {
				err = f.diagnoseHead()
			}
		}
		if err == nil && f.OriginError == nil {
			return nil
		}
		help := f.remedy(err)
		if help == remedyNone {
			return err
		}
		next, ticket := f.nextReplica(r, help)
		if next == nil {
			return err
		}
		if err == nil {
			r.Metrics.CountError(f.OriginError.Reason)
		}
		r, t, now = next, ticket, time.Now()
	}
}

// ask sends a request to r, and where its answer takes long, to another replica as
// well; the first good answer counts, and ends the other request.
func (f *Fetch) ask(r *Replica, t pool.Ticket, w request.Plan, head bool, begin time.Time) error {
	if f.Bucket.S3.Hedge.Enabled && len(f.Bucket.Replicas) > 1 {
		return f.sendHedged(r, t, w, head, begin)
	}
	return f.sendTo(r, t, w, head, begin)
}

// sendTo sends a request to one replica, once, and tells its breaker how that went.
// begin is now.
func (f *Fetch) sendTo(r *Replica, t pool.Ticket, w request.Plan, head bool, begin time.Time) error {
	f.Answer.Close()
	f.Answer.Client, f.Answer.Listed, f.Answer.Queued, f.Answer.Dialed = f.Client, f.listed > 0, 0, 0
	if replicaSet(f.Notes.Failed).has(r) {
		t = t.Again()
	}
	f.replica, f.ticket = r, t
	if len(f.Bucket.Replicas) > 1 {
		f.Notes.Replica = r.Name
	}
	query := f.query
	if f.listed == 0 {
		f.keyPath = sign.AppendPath(append(f.keyPath[:0], r.keysPath...), f.key)
	} else {
		f.keyPath = append(f.keyPath[:0], r.Address.bucketPath...)
		f.listQuery = f.appendListQuery(f.listQuery[:0], r.S3.KeyPrefix)
		query = f.listQuery
	}

	headers := f.headers[:0]
	if w.Condition != "" {
		headers = append(headers, sign.Header{Name: w.Condition, Value: w.Value})
	}
	if w.Range.Kind == request.RangeSingle {
		f.rangeValue = request.AppendRange(f.rangeValue[:0], w.Range)
		headers = append(headers, sign.Header{Name: "range", Value: f.rangeValue})
	}
	name := fasthttp.MethodGet
	if head {
		name = fasthttp.MethodHead
	}
	f.OriginError, f.doc = nil, s3error.Document{}
	if f.signer = r.Credentials.Signer(begin); f.signer == nil {
		r.Health.Breaker.Done(t, pool.ResultNone, begin)
		r.Metrics.CountError(problem.Credential.Reason)
		return errNoCredential
	}
	f.skew = r.Health.ClockCorrection()
	f.head = r.appendHead(f.head[:0], f.signer, name, f.keyPath, query, headers, f.trace, begin.Add(f.skew))
	err := r.Upstream.Do(f.Answer, f.head, head)
	f.Notes.Queued += f.Answer.Queued
	f.Notes.Dialed += f.Answer.Dialed
	if err == nil {
		r.Metrics.CountResponse(f.Answer.Header.StatusCode())
		quoteTag(&f.Answer.Header)
		err = f.readError(head)
	}
	end := time.Now()
	r.Health.Breaker.Done(t, resultOfTry(err, f.OriginError), end)
	if err == nil {
		r.proof.noteAnswer(f.signer, f.Answer.Header.StatusCode(), f.OriginError, f.doc.Code, end)
		if f.OriginError == s3error.Clock || end.UnixNano()-r.Health.SkewMeasured.Load() > int64(dateEvery) {
			r.Health.observeDate(&f.Answer.Header, begin, end)
		}
	}
	if err != nil && !f.Answer.Interrupted() {
		r.Metrics.CountError(pool.ReasonOf(err).String())
	}
	return err
}

// readError takes the error document of the response at hand, if it should have one,
// and says what it means. A 304, a 412 and a 416 are answers to conditions and ranges.
func (f *Fetch) readError(head bool) error {
	h := &f.Answer.Header
	switch code := h.StatusCode(); {
	case code < 300, code == fasthttp.StatusNotModified, code == fasthttp.StatusPreconditionFailed, code == fasthttp.StatusRequestedRangeNotSatisfiable:
		return nil
	case !head:
		raw, err := f.Answer.Document(s3error.DocumentLimit)
		if err != nil {
			return err
		}
		f.doc = s3error.Parse(raw)
		f.doc.ReadRegion(h)
	}
	f.OriginError = f.doc.Kind(h.StatusCode())
	if f.OriginError == s3error.Deleted && f.doc.Code == "" && !isDeleteMarker(h) {
		f.OriginError = s3error.Protocol // a 405 to a method that S3 allows
	}
	return nil
}

// resultOfTry returns what a try says about the origin.
func resultOfTry(err error, kind *s3error.Kind) pool.Result {
	switch {
	case err != nil:
		return pool.ResultOf(err)
	case kind == s3error.Foreign: // which says nothing of S3
		return pool.ResultNone
	case kind != nil && kind.Fault == s3error.FaultOrigin:
		return pool.ResultFailure
	}
	return pool.ResultSuccess
}

// noteAnswer notes for the log what answers.
func (f *Fetch) noteAnswer() {
	h := &f.Answer.Header
	f.Notes.Status = h.StatusCode()
	f.Notes.Answered = time.Now()
	f.Notes.ID = append(f.Notes.ID[:0], h.Peek("X-Amz-Request-Id")...)
}

// requestPayer tells S3 that the holder of the credential pays, not the bucket's owner
// ("Using Requester Pays buckets" in the Amazon S3 User Guide).
var requestPayer = sign.Header{Name: "x-amz-request-payer", Value: []byte(upstream.PayerRequester)}

// appendHead appends a request head, signed unless the replica is asked anonymously.
// What is signed is byte for byte what is sent; nothing of the client's request is in it
// but the key and what the query allow-list, Range and one precondition let through, and
// the trace of a trusted proxy. headers are in the order of their names, and may be
// appended to. now is by the replica's clock.
func (r *Replica) appendHead(dst []byte, signer *sign.Signer, method string, path, query []byte, headers []sign.Header, trace []byte, now time.Time) []byte {
	dst = append(dst, method...)
	dst = append(dst, ' ')
	dst = append(dst, path...)
	if len(query) > 0 {
		dst = append(dst, '?')
		dst = append(dst, query...)
	}
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	dst = append(dst, r.host...)
	dst = append(dst, "\r\nUser-Agent: yatagarasu\r\nAccept-Encoding: identity\r\n"...)
	if len(trace) > 0 {
		dst = append(append(append(dst, "traceparent: "...), trace...), "\r\n"...) // not signed, like the two above
	}
	if r.S3.RequestPayer != "" {
		headers = append(headers, requestPayer) // the last by name
	}
	for i := range headers {
		dst = append(dst, headers[i].Name...)
		dst = append(dst, ": "...)
		dst = append(dst, headers[i].Value...)
		dst = append(dst, "\r\n"...)
	}
	q := sign.Request{Method: method, Host: r.host, Path: path, Query: query, Headers: headers}
	dst = signer.AppendHeaders(dst, &q, now)
	return append(dst, "\r\n"...)
}

// replicaSet is a set of replicas of one bucket, by their numbers.
type replicaSet uint32

func (s *replicaSet) add(r *Replica)     { *s |= 1 << r.number }
func (s replicaSet) has(r *Replica) bool { return s&(1<<r.number) != 0 }

// refusal is why no replica may be asked.
type refusal struct {
	verdict pool.Verdict  // KeyFails if that is all that stands against it
	wait    time.Duration // until one may be
}

// add adds that a replica may not be asked.
func (r *refusal) add(v pool.Verdict, wait time.Duration) {
	if r.verdict == pool.Pass || wait < r.wait { // it is the first, or the shortest
		r.wait = wait
	}
	if r.verdict != pool.GivenUp {
		r.verdict = v
	}
}

// failure returns the failure of a request that is refused.
func (r *refusal) failure() *failure {
	if r.verdict == pool.KeyFails {
		return keyFails(r.wait)
	}
	return breakersOpen(r.wait)
}

// pick returns the preferred one of the replicas that are not in except and whose breaker
// lets a request for a key pass, which then owes it a result. Those of equal priority take
// turns.
//
// Hot path: no allocation.
func (b *Bucket) pick(k pool.Key, except replicaSet, now time.Time) (r *Replica, t pool.Ticket, refused refusal) {
	turn := 0
	if len(b.Replicas) > 1 {
		if turn = int(b.turn.Load()); except == 0 {
			turn = int(b.turn.Add(1)) // by first picks alone: with two, each failover would undo it
		}
	}
	for first, end := 0, 0; first < len(b.Replicas); first = end {
		for end < len(b.Replicas) && b.Replicas[end].Priority == b.Replicas[first].Priority {
			end++
		}
		for i := range end - first {
			r = b.Replicas[first+(turn+i)%(end-first)]
			if except.has(r) {
				continue
			}
			t, wait, v := r.Health.Breaker.Allow(k, now)
			if v == pool.Pass {
				return r, t, refusal{}
			}
			refused.add(v, wait)
		}
	}
	return nil, pool.Ticket{}, refused
}

// quoteTag writes the ETag of an answer as an entity tag (RFC 9110 section 8.8.3), so that
// a miss and a hit, conditions and resumed downloads agree on it: some origins leave the
// quotes out. What cannot be one is dropped.
func quoteTag(h *fasthttp.ResponseHeader) {
	v := h.Peek(fasthttp.HeaderETag)
	if n := len(v); n == 0 || n >= 2 && v[n-1] == '"' && (v[0] == '"' || bytes.HasPrefix(v, []byte(`W/"`)) && n > len(`W/"`)) {
		return
	}
	opaque, weak := bytes.CutPrefix(v, []byte("W/"))
	opaque = bytes.Trim(opaque, `"`)
	for _, c := range opaque {
		if !request.TagBytes[c] {
			h.Del(fasthttp.HeaderETag)
			return
		}
	}
	tag := `"` + string(opaque) + `"`
	if weak {
		tag = "W/" + tag
	}
	h.Set(fasthttp.HeaderETag, tag)
}
