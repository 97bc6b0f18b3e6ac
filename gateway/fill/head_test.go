package fill

import "testing"

// Names are in the form in which fasthttp stores them.
func TestPasses(t *testing.T) {
	for name, want := range map[string]bool{
		"Content-Type": true, "Content-Encoding": true, "Content-Language": true, "Content-Disposition": true, "Content-Range": true,
		"Cache-Control": true, "Expires": true, "Date": true, "Etag": true, "Last-Modified": true, "Accept-Ranges": true,
		"X-Amz-Version-Id": true, "X-Amz-Mp-Parts-Count": true, "X-Amz-Website-Redirect-Location": true,
		"X-Amz-Meta-Owner": true, "X-Amz-Meta-": true, "X-Amz-Checksum-Sha256": true, "X-Amz-Checksum-Type": true,

		"": false, "Content-Length": false, "Connection": false, "Transfer-Encoding": false, "Trailer": false, "Server": false,
		"Set-Cookie": false, "Vary": false, "Age": true, "Location": false, "Strict-Transport-Security": false, "Www-Authenticate": false,
		"Access-Control-Allow-Origin": false, "X-Request-Id": false, "X-Cache": false, "X-Ratelimit-Limit": false,
		"X-Amz-Request-Id": false, "X-Amz-Id-2": false, "X-Amz-Bucket-Region": false, "X-Amz-Delete-Marker": false, "X-Amz-Expiration": false,
		"X-Amz-Storage-Class": false, "X-Amz-Server-Side-Encryption": false, "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": false,
		"X-Amz-Meta": false, "X-Amz-Metadata": false, "X-Amz-Checksum": false, "X-Amz-Replication-Status": false, "X-Minio-Deployment-Id": false,
		"Content-Types": false, "Xx-Amz-Meta-Owner": false,
	} {
		if got := InObjects([]byte(name)); got != want {
			t.Errorf("%q: %t", name, got)
		}
	}
}

func TestWithoutAWSChunked(t *testing.T) {
	for v, want := range map[string]string{
		"": "", "gzip": "gzip", "br, gzip": "br, gzip",
		"aws-chunked": "", "aws-chunked,gzip": "gzip", "aws-chunked, gzip": "gzip", "aws-chunked,  br, gzip": "br, gzip",
		"gzip,aws-chunked": "gzip", "gzip, AWS-Chunked , br": "gzip, br", "AWS-Chunked": "", "aws-chunkedx": "aws-chunkedx", "br, x-aws-chunked": "br, x-aws-chunked",
	} {
		if got := withoutAWSChunked([]byte(v)); string(got) != want {
			t.Errorf("%q became %q, want %q", v, got, want)
		}
	}
}
