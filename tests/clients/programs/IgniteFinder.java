// How Apache Ignite's TcpDiscoveryKubernetesIpFinder asks for a Service's addresses: with Java's own Accept header.
// Arguments: the server, its CA, a service account's token, a namespace and a Service. Prints the status and the body.

import java.io.FileInputStream;
import java.io.InputStream;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

public class IgniteFinder {
  public static void main(String[] arguments) throws Exception {
    var url = new URL(arguments[0] + "/api/v1/namespaces/" + arguments[3] + "/endpoints/" + arguments[4]);
    var connection = (HttpsURLConnection) url.openConnection();
    connection.setSSLSocketFactory(trusting(arguments[1]).getSocketFactory());
    connection.addRequestProperty("Authorization", "Bearer " + arguments[2]);
    System.out.println(connection.getResponseCode());
    InputStream answer = connection.getResponseCode() < 400 ? connection.getInputStream() : connection.getErrorStream();
    System.out.println(new String(answer.readAllBytes(), StandardCharsets.UTF_8));
  }

  static SSLContext trusting(String path) throws Exception {
    var store = KeyStore.getInstance(KeyStore.getDefaultType());
    store.load(null, null);
    try (var file = new FileInputStream(path)) {
      store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(file));
    }
    var trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
    trust.init(store);
    var context = SSLContext.getInstance("TLS");
    context.init(null, trust.getTrustManagers(), null);
    return context;
  }
}
