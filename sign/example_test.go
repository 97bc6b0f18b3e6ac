package sign_test

import (
	"fmt"
	"strings"
	"time"

	"yatagarasu/sign"
)

// A request head is written into one buffer, and signed where it stands.
func ExampleSigner_AppendHeaders() {
	signer, err := sign.New(sign.Options{
		AccessKey: "AKIAIOSFODNN7EXAMPLE",
		SecretKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
		Region:    "us-east-1",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	now := time.Date(2013, time.May, 24, 0, 0, 0, 0, time.UTC)

	head := []byte("GET ")
	head = sign.AppendPath(head, "/test.txt")
	request := &sign.Request{
		Method:  "GET",
		Host:    []byte("examplebucket.s3.amazonaws.com"),
		Path:    head[len("GET "):],
		Headers: []sign.Header{{Name: "range", Value: []byte("bytes=0-9")}},
	}
	head = append(head, " HTTP/1.1\r\nHost: examplebucket.s3.amazonaws.com\r\nRange: bytes=0-9\r\n"...)
	head = signer.AppendHeaders(head, request, now)
	head = append(head, "\r\n"...)

	fmt.Print(strings.ReplaceAll(string(head), "\r\n", "\n"))
	fmt.Println(signer)
	// Output:
	// GET /test.txt HTTP/1.1
	// Host: examplebucket.s3.amazonaws.com
	// Range: bytes=0-9
	// X-Amz-Date: 20130524T000000Z
	// X-Amz-Content-Sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
	// Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41
	//
	// sign.Signer{Region: us-east-1, credential: ***}
}

func ExampleAppendPath() {
	fmt.Printf("%s\n", sign.AppendPath(nil, "/bucket//a b+c%2Fd~é.txt"))
	fmt.Printf("?versionId=%s\n", sign.AppendQueryComponent(nil, "3/L4kqtJ="))
	// Output:
	// /bucket//a%20b%2Bc%252Fd~%C3%A9.txt
	// ?versionId=3%2FL4kqtJ%3D
}
