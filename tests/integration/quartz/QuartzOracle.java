import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.util.Date;
import java.util.TimeZone;
import org.quartz.CronExpression;

/** Reads lines of expression, zone, seconds since 1970 and a count, with tabs between; answers with so many fires after that. */
public final class QuartzOracle {
    public static void main(String[] arguments) throws Exception {
        BufferedReader questions = new BufferedReader(new InputStreamReader(System.in));
        BufferedWriter answers = new BufferedWriter(new OutputStreamWriter(System.out));
        for (String line = questions.readLine(); line != null; line = questions.readLine()) {
            answers.write(answer(line.split("\t")));
            answers.newLine();
        }
        answers.flush();
    }

    private static String answer(String[] asked) {
        StringBuilder fires = new StringBuilder();
        try {
            CronExpression cron = new CronExpression(asked[0]);
            cron.setTimeZone(TimeZone.getTimeZone(asked[1]));
            Date fire = new Date(Long.parseLong(asked[2]) * 1000);
            for (int left = Integer.parseInt(asked[3]); left > 0 && fire != null; left--) {
                fire = cron.getTimeAfter(fire);
                if (fire != null) {
                    fires.append(' ').append(fire.getTime() / 1000);
                }
            }
            return "fires" + fires;
        } catch (Exception error) {
            return "refused " + error.getMessage();
        }
    }
}
