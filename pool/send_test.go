package pool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// source hands out body in pieces of at most n bytes, and fails the test when it is
// asked for other bytes than the next.
func source(t *testing.T, body []byte, n int) func(sent int64) ([]byte, error) {
	handed, ended := 0, false
	return func(sent int64) ([]byte, error) {
		if sent != int64(handed) || ended {
			t.Errorf("asked for what comes after %d bytes; %d were handed out, the end %t", sent, handed, ended)
		}
		b := body[handed:min(handed+n, len(body))]
		handed += len(b)
		ended = len(b) == 0
		return b, nil
	}
}

// sendTo sends bytes in memory that nobody else needs.
func sendTo(client net.Conn, p *Pace, next func(sent int64) ([]byte, error)) (int64, error) {
	var s Sending
	s.Begin(client, p, Claim{})
	defer s.End()
	return s.Send(client, next)
}

// endless hands out bytes for ever.
func endless() func(int64) ([]byte, error) {
	piece := noise(1 << 20)
	return func(int64) ([]byte, error) { return piece, nil }
}

// pacedByHand returns a Pace that looks at its streams when check is called.
func pacedByHand(rate int64, window time.Duration) *Pace {
	return &Pace{rate: rate, window: window, streams: make(map[*transfer]struct{})}
}

// registered waits until p looks after a transfer, and tells whether it does.
func registered(p *Pace) bool {
	return eventually(func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.streams) > 0
	})
}

// unregistered fails unless p has forgotten all transfers.
func unregistered(t *testing.T, p *Pace) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.streams) > 0 {
		t.Error("Pace still refers to a transfer")
	}
}

func TestSendBodies(t *testing.T) {
	overBoth(t, func(t *testing.T, overTLS bool) {
		for _, size := range []int{0, 1, 1000, maxWrite - 1, maxWrite, maxWrite + 1, 3 << 20} {
			for _, piece := range []int{999, maxWrite, 4 << 20} {
				t.Run(fmt.Sprintf("%d bytes in pieces of %d", size, piece), func(t *testing.T) {
					body := noise(size)
					ours, client := pair(t, overTLS)
					got := make(chan []byte, 1)
					go func() { // ends with the connection
						b, _ := io.ReadAll(client)
						got <- b
					}()
					ours.SetWriteDeadline(elapsed) // of whatever came before
					p := pace(t, 1<<10, time.Minute)
					n, err := sendTo(ours, p, source(t, body, piece))
					if n != int64(size) || err != nil {
						t.Errorf("sent %d, %v", n, err)
					}
					unregistered(t, p)
					if _, err := ours.Write([]byte("next")); err != nil {
						t.Errorf("the client's connection is spoiled: %v", err)
					}
					ours.Close()
					if b := <-got; !bytes.Equal(b, append(body, "next"...)) {
						t.Errorf("the client got %d other bytes", len(b))
					}
				})
			}
		}
	})
}

// TestSendToSlowClient has a client with little room that reads in small pieces.
func TestSendToSlowClient(t *testing.T) {
	ours, client := pair(t, false)
	ours.(*net.TCPConn).SetWriteBuffer(16 << 10)
	client.(*net.TCPConn).SetReadBuffer(16 << 10)
	body := noise(600_000)
	got := make(chan []byte, 1)
	go func() { // ends with the connection
		var all []byte
		b := make([]byte, 5000)
		for {
			n, err := client.Read(b)
			if all = append(all, b[:n]...); err != nil {
				got <- all
				return
			}
		}
	}()
	n, err := sendTo(ours, pace(t, 1<<10, time.Minute), source(t, body, 100_000))
	if n != int64(len(body)) || err != nil {
		t.Errorf("sent %d, %v", n, err)
	}
	ours.Close()
	if b := <-got; !bytes.Equal(b, body) {
		t.Errorf("the client got %d other bytes", len(b))
	}
}

// TestSendErrorOfSource has the bytes fail to come: what came before is sent.
func TestSendErrorOfSource(t *testing.T) {
	broken := errors.New("the origin broke")
	for _, before := range []int{0, 1, 300_000} {
		t.Run(fmt.Sprintf("after %d bytes", before), func(t *testing.T) {
			body := noise(before)
			ours, client := pair(t, false)
			got := make(chan []byte, 1)
			go func() { // ends with the connection
				b, _ := io.ReadAll(client)
				got <- b
			}()
			next := source(t, body, 100_000)
			p := pace(t, 1<<10, time.Minute)
			n, err := sendTo(ours, p, func(sent int64) ([]byte, error) {
				if b, _ := next(sent); len(b) > 0 {
					return b, nil
				}
				return nil, broken
			})
			if n != int64(before) || err != broken {
				t.Errorf("sent %d, %v", n, err)
			}
			unregistered(t, p)
			ours.Close()
			if b := <-got; !bytes.Equal(b, body) {
				t.Errorf("the client got %d other bytes", len(b))
			}
		})
	}
}

// TestSendBreaks has clients that go away or do not read, and an end of all streams.
func TestSendBreaks(t *testing.T) {
	for name, c := range map[string]struct {
		rate   int // bytes per second, over 100 ms
		client func(ours, client net.Conn, p *Pace)
		reason Reason
	}{
		"the client closes": {0, func(_, client net.Conn, _ *Pace) {
			io.CopyN(io.Discard, client, 1000)
			client.Close()
		}, ReasonClientGone},
		"the connection is closed here": {0, func(ours, _ net.Conn, p *Pace) {
			registered(p)
			ours.Close()
		}, ReasonClientGone},
		"the client does not read": {1 << 20, func(net.Conn, net.Conn, *Pace) {}, ReasonClientSlow},
		"the client reads too slowly": {64 << 20, func(_, client net.Conn, _ *Pace) {
			b := make([]byte, 100)
			for {
				if _, err := client.Read(b); err != nil {
					return
				}
				time.Sleep(time.Millisecond) // the slowness, which is what is tested
			}
		}, ReasonClientSlow},
		"all streams are ended": {0, func(_, client net.Conn, p *Pace) {
			io.CopyN(io.Discard, client, 1000)
			p.mu.Lock()
			for t := range p.streams {
				t.end(ReasonClosed)
			}
			p.mu.Unlock()
		}, ReasonClosed},
	} {
		t.Run(name, func(t *testing.T) {
			overBoth(t, func(t *testing.T, overTLS bool) {
				ours, client := pair(t, overTLS)
				p := pace(t, c.rate, 100*time.Millisecond)
				go c.client(ours, client, p) // ends with the connection
				handed := int64(0)
				next := endless()
				sent, err := sendTo(ours, p, func(n int64) ([]byte, error) {
					b, _ := next(n)
					handed += int64(len(b))
					return b, nil
				})
				want(t, err, c.reason, PhaseBody, true)
				if sent < 0 || sent > handed {
					t.Errorf("%d bytes of %d sent", sent, handed)
				}
				unregistered(t, p)
				client.Close() // first: TLS would wait for it
			})
		})
	}
	never := func(int64) ([]byte, error) { return nil, errors.New("asked for bytes that nobody takes") }
	t.Run("the client is gone already", func(t *testing.T) {
		ours, _ := pair(t, false)
		ours.Close()
		p := pace(t, 0, time.Minute)
		sent, err := sendTo(ours, p, never)
		want(t, err, ReasonClientGone, PhaseBody, true)
		if sent != 0 {
			t.Errorf("%d bytes sent", sent)
		}
		unregistered(t, p)
	})
	t.Run("nobody would end it any more", func(t *testing.T) {
		ours, client := pair(t, false)
		go drain(client)
		p := NewPace(1, time.Minute)
		p.Stop()
		sent, err := sendTo(ours, p, endless())
		want(t, err, ReasonClosed, PhaseBody, true)
		if sent != 0 {
			t.Errorf("%d bytes sent", sent)
		}
	})
}

// TestSendOfSlowSource has Pace give up a transfer whose bytes do not come, while
// Send waits for them.
func TestSendOfSlowSource(t *testing.T) {
	const window = time.Minute
	broken := errors.New("the origin broke")
	begin := noise(1000)
	// start sends begin and has the transfer cut; end is what the source does then.
	start := func(t *testing.T, end func(ours net.Conn) ([]byte, error)) (ours net.Conn, sent int64, err error) {
		ours, client := pair(t, false)
		p := pacedByHand(1<<10, window)
		sent, err = sendTo(ours, p, func(sent int64) ([]byte, error) {
			if sent == 0 {
				return begin, nil
			}
			if _, err := io.ReadFull(client, make([]byte, len(begin))); err != nil {
				t.Error(err)
			}
			acknowledged(t, ours, len(begin))
			now := time.Now()
			p.check(now)
			p.check(now.Add(window))
			return end(ours)
		})
		unregistered(t, p)
		return ours, sent, err
	}
	t.Run("more comes after all", func(t *testing.T) {
		ours, sent, err := start(t, func(net.Conn) ([]byte, error) { return begin, nil })
		reason := ReasonTimeout
		if _, ok := delivered(ours.(*net.TCPConn)); !ok {
			reason = ReasonClientSlow // who is to blame cannot be told
		}
		want(t, err, reason, PhaseBody, true)
		if sent != int64(len(begin)) {
			t.Errorf("%d bytes sent, want those before the cut", sent)
		}
	})
	t.Run("an error comes", func(t *testing.T) {
		_, sent, err := start(t, func(net.Conn) ([]byte, error) { return nil, broken })
		if sent != int64(len(begin)) || err != broken {
			t.Errorf("sent %d, %v", sent, err)
		}
	})
	t.Run("that was all", func(t *testing.T) {
		ours, sent, err := start(t, func(net.Conn) ([]byte, error) { return nil, nil })
		if sent != int64(len(begin)) || err != nil {
			t.Errorf("sent %d, %v", sent, err)
		}
		if _, err := ours.Write([]byte("x")); err != nil {
			t.Errorf("the client's connection is spoiled: %v", err)
		}
	})
	t.Run("that was all, and the client is gone", func(t *testing.T) {
		_, sent, err := start(t, func(ours net.Conn) ([]byte, error) {
			ours.Close()
			return nil, nil
		})
		want(t, err, ReasonClientGone, PhaseBody, true)
		if sent != int64(len(begin)) {
			t.Errorf("sent %d", sent)
		}
	})
}

// acknowledged waits until the client's kernel has n bytes, where that can be told.
func acknowledged(t *testing.T, ours net.Conn, n int) {
	t.Helper()
	if !eventually(func() bool {
		d, ok := delivered(ours.(*net.TCPConn))
		return !ok || d.acked >= uint64(n) && !d.pending
	}) {
		t.Fatal("not acknowledged")
	}
}
