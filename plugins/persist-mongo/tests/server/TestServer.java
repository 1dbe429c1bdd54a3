import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import java.net.InetSocketAddress;

/** A server for the tests: TestServer FILE PORT (0: a free one). Prints "ready PORT". SIGTERM: a clean stop. */
public final class TestServer {
    public static void main(String[] arguments) {
        MongoServer server = new MongoServer(new H2Backend(arguments[0]));
        server.bind("127.0.0.1", Integer.parseInt(arguments[1]));
        InetSocketAddress address = server.getLocalAddress();
        Runtime.getRuntime().addShutdownHook(new Thread(server::shutdown));
        System.out.println("ready " + address.getPort());
        System.out.flush();
    }
}
